export { describeStore } from '../conformance.ts';
export { batchOf, type GivenMessage, type GivenReading, RECEIVED_US } from './batches.ts';
export { type ClickHouseShell, startClickHouseShell } from './clickhouse-shell.ts';
export { rowsOf } from './rows.ts';
export { type ShellCluster, startShellCluster } from './shell-cluster.ts';
export type { OpenedStore, Runner } from './suite.ts';
