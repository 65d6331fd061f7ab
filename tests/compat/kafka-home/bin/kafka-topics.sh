#!/usr/bin/env bash
# Apache Kafka's tool for topics.
exec "$(dirname "$0")/kafka-run-class.sh" org.apache.kafka.tools.TopicCommand "$@"
