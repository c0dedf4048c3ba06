/** What can be published: JSON values are written as JSON, strings and bytes go as they are. */
export type Payload = string | Uint8Array | readonly unknown[] | { readonly [member: string]: unknown };

export interface PublishOptions {
  /** Segments joined by `/`. */
  readonly subtopic?: string;
  /** Left out: SenML for an array, JSON for an object; of strings and bytes the channel's own. */
  readonly contentType?: string;
  /** HTTP: with one, a publish may be sent again after a fault; true makes one. */
  readonly idempotencyKey?: string | true;
  /** http if left out: one request a message. ws and mqtt keep a connection, and say nothing of the message's id
   *  (mqtt). */
  readonly protocol?: 'http' | 'ws' | 'mqtt';
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

/** A message as a subscription gives it. */
export interface LiveMessage {
  /** Its id. By MQTT: what the subscription called it. */
  readonly channel: string;
  readonly subtopic: string;
  /** Not by MQTT, as all that follows but the payload. */
  readonly id?: string;
  readonly publisher?: string;
  readonly protocol?: string;
  readonly content_type?: string;
  /** @units s since 1970 */
  readonly received?: number;
  /** Where to go on after it. */
  readonly position?: string;
  /** One of these three. */
  readonly json?: unknown;
  readonly payload?: string;
  readonly payload_base64?: string;
}

export interface SubscribeOptions {
  /** A filter as in MQTT, `temp/+`, `temp/#`; all subtopics if left out. */
  readonly subtopic?: string;
  /** ws if left out. */
  readonly protocol?: 'ws' | 'sse' | 'mqtt';
  /** A position of an earlier message: what follows comes first. Not by MQTT. */
  readonly from?: string;
  /** When this reader is slow: `latest` leaves out what is superseded. Not by MQTT. */
  readonly slow?: 'latest' | 'disconnect';
  readonly signal?: AbortSignal;
  /** What was between is no longer kept. */
  readonly onGap?: (gap: { readonly from: string; readonly to: string }) => void;
  /** The subscription holds: what is published from now on comes. Told after each reconnection too. */
  readonly onOpen?: () => void;
  /** The connection is lost; it is tried again after the pause.  @units ms */
  readonly onRetry?: (error: Error, pauseMs: number) => void;
  /** How many messages may wait here for the reader (1,000); then it is caught up with from the log. */
  readonly waitingMax?: number;
}

export interface Encoded {
  readonly bytes: Uint8Array;
  readonly contentType: string | undefined;
}

export function encode(payload: Payload, contentType?: string): Encoded {
  if (typeof payload === 'string') return { bytes: new TextEncoder().encode(payload), contentType };
  if (payload instanceof Uint8Array) return { bytes: payload, contentType };
  const told = contentType ?? (Array.isArray(payload) ? 'application/senml+json' : 'application/json');
  return { bytes: new TextEncoder().encode(JSON.stringify(payload)), contentType: told };
}

/** The text of bytes; null if they are no UTF-8. */
export function textOf(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

export function base64(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

/** The payload of a message as bytes, however it came. */
export function bytesOf({ json, payload, payload_base64 }: LiveMessage): Uint8Array {
  if (payload_base64 !== undefined) return Uint8Array.from(atob(payload_base64), (one) => one.charCodeAt(0));
  return new TextEncoder().encode(payload ?? JSON.stringify(json));
}
