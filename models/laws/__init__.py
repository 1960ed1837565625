"""Laws: what every base model and every update method promises, whoever wrote it.

    for law in models.laws.update_methods.LAWS:
        law(Trial(method=MyMethod()))           # raises LawBroken: which law, what was seen, what would be right

A law calls what is on trial as the learner does, on small streams (streams.py), and compares runs by digests of their
bytes (trial.py). Call `models.learning.prepare_process` before.
"""
