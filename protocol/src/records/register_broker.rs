//! RegisterBrokerRecord (key 0).

use uuid::Uuid;

message! {
    /// A broker registered with the controller: a new incarnation of it, fenced until it has caught up.
    pub struct RegisterBrokerRecord(0..=3, flexible 0..) {
        /// The broker's node id.
        broker_id: i32 = 0;
        /// Whether the broker still runs on ZooKeeper and is about to migrate (KIP-866).
        is_migrating_zk_broker: bool = false, in 2..;
        /// Changes with every start of the broker's process.
        incarnation_id: Uuid = Uuid::nil();
        /// The broker's epoch: the offset of this record in the metadata log.
        broker_epoch: i64 = 0;
        /// Where clients and other brokers reach it.
        end_points: Vec<BrokerEndpoint> = Vec::new();
        /// The feature levels that its software knows.
        features: Vec<BrokerFeature> = Vec::new();
        /// The rack that it says it is in.
        rack: Option<String> = None;
        /// Whether it must not lead or be in an ISR yet.
        fenced: bool = true;
        /// Whether it asked to leave.
        in_controlled_shutdown: bool = false, in 1..;
        /// The ids of its online log directories (KIP-858), ascending.
        log_dirs: Vec<Uuid> = Vec::new(), in 3.., tag 0;
    }

    /// One listener of a broker or controller.
    pub struct BrokerEndpoint {
        /// The listener's name.
        name: String = String::new();
        /// The host name that is advertised.
        host: String = String::new();
        /// The port that is advertised.
        port: u16 = 0;
        /// 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
        security_protocol: i16 = 0;
    }

    /// The levels of one feature that a node's software knows.
    pub struct BrokerFeature {
        /// The feature's name.
        name: String = String::new();
        /// The lowest level.
        min_supported_version: i16 = 0;
        /// The highest level.
        max_supported_version: i16 = 0;
    }
}
