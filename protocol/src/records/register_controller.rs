//! RegisterControllerRecord (key 27).

use uuid::Uuid;

message! {
    /// A controller registered with the active one (KIP-919).
    pub struct RegisterControllerRecord(0..=0, flexible 0..) {
        /// The controller's node id.
        controller_id: i32 = 0;
        /// Changes with every start of its process.
        incarnation_id: Uuid = Uuid::nil();
        /// Whether it could migrate from ZooKeeper.
        zk_migration_ready: bool = false;
        /// Where it is reached.
        end_points: Vec<ControllerEndpoint> = Vec::new();
        /// The feature levels that its software knows.
        features: Vec<ControllerFeature> = Vec::new();
    }

    /// One listener of a controller.
    pub struct ControllerEndpoint {
        /// The listener's name.
        name: String = String::new();
        /// The host name that is advertised.
        host: String = String::new();
        /// The port that is advertised.
        port: u16 = 0;
        /// 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
        security_protocol: i16 = 0;
    }

    /// The levels of one feature that a controller's software knows.
    pub struct ControllerFeature {
        /// The feature's name.
        name: String = String::new();
        /// The lowest level.
        min_supported_version: i16 = 0;
        /// The highest level.
        max_supported_version: i16 = 0;
    }
}
