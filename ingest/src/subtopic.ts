/** Longest subtopic, in bytes of UTF-8. */
export const SUBTOPIC_BYTES_MAX = 256;

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f+#*>]/;

/** What is wrong with a subtopic that a message shall be published to, or null.
 *  @shape segments joined by '/', none empty; "" is no subtopic and always right  */
export function subtopicFault(subtopic: string): string | null {
  if (subtopic === '') return null;
  if (FORBIDDEN.test(subtopic)) return 'The subtopic holds a wildcard (+ # * >) or a control character.';
  if (Buffer.byteLength(subtopic) > SUBTOPIC_BYTES_MAX) {
    return `The subtopic is longer than ${SUBTOPIC_BYTES_MAX} bytes.`;
  }
  if (subtopic.startsWith('/') || subtopic.endsWith('/') || subtopic.includes('//')) {
    return 'The subtopic holds an empty segment.';
  }
  return null;
}
