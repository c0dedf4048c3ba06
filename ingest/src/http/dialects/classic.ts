import type { PathParser } from '../route.ts';
import { mainPath } from './main.ts';

/** `http/channels/<id>/messages[/<subtopic>…]`: the main dialect behind the prefix of the classic reverse proxy. */
export const classicPath: PathParser = (segments) => (segments[0] === 'http' ? mainPath(segments.slice(1)) : null);
