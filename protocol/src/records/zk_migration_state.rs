//! ZkMigrationStateRecord (key 21).

message! {
    /// How far the migration from ZooKeeper is (KIP-866).
    pub struct ZkMigrationStateRecord(0..=0, flexible 0..) {
        /// 0 none, 2 pre-migration, 1 migration, 3 post-migration.
        zk_migration_state: i8 = 0;
    }
}
