/** How messages of one protocol reach the node. */
export interface Wire {
  readonly protocol: 'http' | 'mqtt' | 'coap' | 'ws';
  /** Sends one message if a client is free.  @returns false when all wait for answers */
  send(): boolean;
  close(): Promise<void>;
}

/** Hears what came of each message. */
export interface Told {
  answered(taken: boolean, ms: number): void;
}
