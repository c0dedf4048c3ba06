export { DeliveryConfig, type DeliveryLimits, deliveryLimits } from './delivery/config.ts';
export { createDelivery, type DeliveryOptions, type StoppableDelivery } from './delivery/delivery.ts';
export { IngestError, type IngestErrorCode } from './error.ts';
export { HttpIngestConfig } from './http/config.ts';
export { type HttpAddress, type HttpServerOptions, httpServer } from './http/server.ts';
export { SUBTOPIC_BYTES_MAX, subtopicFault } from './subtopic.ts';
