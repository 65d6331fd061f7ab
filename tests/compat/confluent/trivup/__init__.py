"""Stands in for the package that starts Kafka for the tests of confluent-kafka."""
