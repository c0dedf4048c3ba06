import { MillraceError } from '@millrace/core';

export type IngestErrorCode =
  /** Another program listens there. */
  | 'HTTP_PORT_IN_USE'
  /** The address can't be bound: not ours, or not allowed. */
  | 'HTTP_LISTEN_FAILED'
  /** Certificate or key can't be read, or do not fit each other. */
  | 'HTTP_TLS_INVALID'
  | 'MQTT_PORT_IN_USE'
  | 'MQTT_LISTEN_FAILED'
  | 'MQTT_TLS_INVALID'
  | 'COAP_PORT_IN_USE'
  | 'COAP_LISTEN_FAILED'
  /** A file of object definitions cannot be read. */
  | 'LWM2M_MODELS_INVALID';
export class IngestError extends MillraceError<IngestErrorCode> {}
