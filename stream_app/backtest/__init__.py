"""Backtest: which update method is best for a recorded stream, by evidence: methods x seeds, without publication.

One job is one seed: a process in which the learner keeps all methods warm at once, so that samples, pretraining and
base model are shared by construction. The journal is built once and read by all jobs. Per method and seed the numbers
are those of `asmg replay`.
"""
