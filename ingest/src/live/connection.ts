/** A connection that stays open, as the server that looks after it sees it. None of this throws. */
export interface LiveConnection {
  /** Whether it ends by `drain`. */
  readonly drains: boolean;
  /** Called a few times a second. @param nowMs monotonic */
  sweep(nowMs: number): void;
  /** The node goes down: end once what was received is answered. */
  drain(): void;
  /** End now. */
  destroy(): void;
}
