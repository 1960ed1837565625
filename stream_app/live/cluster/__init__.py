"""What is asked of the Kafka cluster and told to it: topics, rights, groups, and where reading begins."""
