#!/usr/bin/env bash
# Formats a log directory, as Apache Kafka's script of this name.
exec "$(dirname "$0")/kafka-run-class.sh" kafka.tools.StorageTool "$@"
