#!/usr/bin/env bash
# What Apache Kafka's script of this name does for the suites that start their own node: runs the node or a tool.
#
# MINIKAFKA_BIN is our program. With MINIKAFKA_COMPAT_TARGET=apache the node is Apache Kafka's too. The tools always
# are. MINIKAFKA_JAVA holds the command that runs a JVM with Apache Kafka's class path.
set -eu
class=$1
shift
if [ "${MINIKAFKA_COMPAT_TARGET:-ours}" = ours ]; then
    case $class in
        kafka.Kafka) exec "$MINIKAFKA_BIN" start "$@" ;;
        kafka.tools.StorageTool) exec "$MINIKAFKA_BIN" storage "$@" ;;
    esac
fi
# The command and the options are words, among them a class path that ends in `*`.
set -f
exec $MINIKAFKA_JAVA ${KAFKA_OPTS:-} "$class" "$@"
