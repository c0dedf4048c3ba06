import type { PathParser } from '../route.ts';

/** `m/<org>/c/<channel>[/<subtopic>…]`, also behind `http/`; comes with `Authorization: Client <secret>`. */
export const laterPath: PathParser = (segments) => {
  const at = segments[0] === 'http' ? 1 : 0;
  if (segments[at] !== 'm' || segments[at + 2] !== 'c' || segments.length < at + 4) return null;
  return {
    org: segments[at + 1] ?? '',
    channel: segments[at + 3] ?? '',
    subtopic: segments.slice(at + 4).join('/'),
  };
};
