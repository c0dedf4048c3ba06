import type { PathParser } from '../route.ts';

/** `channels/<id or alias>/messages[/<subtopic>…]`, and `…/messages/batch` (so no subtopic is just `batch`). */
export const mainPath: PathParser = (segments) => {
  if (segments[0] !== 'channels' || segments[2] !== 'messages') return null;
  return { channel: segments[1] ?? '', subtopic: segments.slice(3).join('/') };
};
