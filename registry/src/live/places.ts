import type { StoredPlace } from '@millrace/core';

/** Where a live question stands in each partition that its channels are in. */
export type Places = ReadonlyMap<number, StoredPlace>;

const TEXT_SIZE_MAX = 65_536;
const PLACE = /^(\d{1,5})-(\d{1,15})(?:-(\d{1,9}))?$/;

/** As clients keep it: `<partition>-<offset>[-<index>]`, joined by dots. */
export const placesText = (places: Places): string =>
  [...places]
    .map(([partition, { offset, index }]) => `${partition}-${offset}${index === 0 ? '' : `-${index}`}`)
    .join('.');

/** @returns null if the text is none */
export function parsePlaces(text: string): Places | null {
  if (text.length > TEXT_SIZE_MAX) return null;
  const places = new Map<number, StoredPlace>();
  for (const part of text.split('.')) {
    const [, partition, offset, index = '0'] = PLACE.exec(part) ?? [];
    if (partition === undefined || places.has(Number(partition))) return null;
    places.set(Number(partition), { offset: Number(offset), index: Number(index) });
  }
  return places;
}

export const isBefore = (a: StoredPlace, b: StoredPlace): boolean =>
  a.offset < b.offset || (a.offset === b.offset && a.index < b.index);
