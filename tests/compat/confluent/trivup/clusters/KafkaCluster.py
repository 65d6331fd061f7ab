"""Clusters that tests start beside the one named by `BROKERS`: there is none."""


class KafkaCluster:
    def __init__(self, **conf):
        raise RuntimeError(f"no cluster of its own for a test: {sorted(conf)}")
