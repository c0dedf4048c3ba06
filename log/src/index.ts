export * from './config.ts';
export { type EmbeddedLogOptions, embeddedLog } from './embedded/engine.ts';
export { type KafkaLogOptions, kafkaLog } from './kafka/engine.ts';
export { type SharedLogOptions, sharedLog } from './shared/engine.ts';
export { type LogServerOptions, serveLog } from './shared/server.ts';
