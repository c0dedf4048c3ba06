export { openStoreRestore, STORE_SCHEMA, type StoreRestore } from './backup/restore.ts';
export { StorageConfig } from './config.ts';
export { type Durability, MIGRATIONS } from './schema/migrate.ts';
export { embeddedEngine, openStore, type StoreOptions } from './store.ts';
export { insertToken, WRITE_ORDER } from './write/writer.ts';
