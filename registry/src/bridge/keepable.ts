const LONE_SURROGATE = /\p{Surrogate}/u;

/** Whether PostgreSQL can keep this as text of at most so many bytes. What it can't is refused before it is part of a
 *  statement, where it would cost all others theirs. */
export const isKeepable = (text: string, bytesMax: number): boolean =>
  Buffer.byteLength(text) <= bytesMax && !text.includes('\0') && !LONE_SURROGATE.test(text);
