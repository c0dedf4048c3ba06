/** Stand for a segment of its own in a dialect's shape. */
export const CHANNEL = Symbol('channel');
export const ORG = Symbol('org');

/** How topics name a channel.
 *  @shape shape: the segments that every topic begins with; a text stands for itself */
export interface TopicDialect {
  readonly shape: readonly (string | typeof CHANNEL | typeof ORG)[];
  /** Whether segments may follow: subtopic, then content type. */
  readonly goesOn: boolean;
  /** What a message carries that names no content type; "": the channel's default. */
  readonly contentType: string;
}
