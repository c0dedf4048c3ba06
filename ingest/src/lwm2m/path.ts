/** Where something is on a device: object, instance, resource, instance of the resource.  @holds one to four numbers */
export type Lwm2mPath = readonly number[];

const ID_MAX = 65_535;
const PATH = /^\/(?:0|[1-9]\d{0,4})(?:\/(?:0|[1-9]\d{0,4})){0,3}$/;

/** `/3303/0/5700`; null if it is none. */
export function parsePath(text: string): Lwm2mPath | null {
  if (!PATH.test(text)) return null;
  const path = text.slice(1).split('/').map(Number);
  return path.every((id) => id <= ID_MAX) ? path : null;
}

export const pathText = (path: Lwm2mPath): string => `/${path.join('/')}`;

/** A path within another one: `/3303/0` and `5700`, or `/3303/0/5700` itself.
 *  @returns null where the second is no path, or not below the first */
export function pathBelow(base: Lwm2mPath, text: string): Lwm2mPath | null {
  const path = parsePath(text.startsWith('/') ? text : `${base.length === 0 ? '' : pathText(base)}/${text}`);
  return path?.slice(0, base.length).every((id, index) => id === base[index]) ? path : null;
}
