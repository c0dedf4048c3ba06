export * from './config.ts';
export { type EmbeddedLogOptions, embeddedLog } from './embedded/engine.ts';
export { type KafkaLogOptions, kafkaLog } from './kafka/engine.ts';
