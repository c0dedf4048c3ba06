import type { PathParser } from '../route.ts';

/** `channels/<id>/msg`, where `application/json` carries SenML and the answer is `{"response":"message sent"}`. */
export const firstPath: PathParser = (segments) => {
  if (segments[0] !== 'channels' || segments[2] !== 'msg' || segments.length !== 3) return null;
  return { channel: segments[1] ?? '', subtopic: '', first: true };
};
