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
  /** More waits to be processed than may be looked through for one reader. */
  | 'COAP_BACKLOG'
  /** Too many readers wait for the store. */
  | 'COAP_READERS_FULL'
  /** A file of object definitions cannot be read. */
  | 'LWM2M_MODELS_INVALID'
  /** Certificate or key can't be read, do not fit each other, or are not of EC P-256. */
  | 'COAPS_CERTIFICATE_INVALID'
  /** Neither pre-shared keys nor a certificate. */
  | 'COAPS_NOTHING_OFFERED'
  /** The Unix socket of terminators can't be opened. */
  | 'TERMINATOR_LISTEN_FAILED';
export class IngestError extends MillraceError<IngestErrorCode> {}
