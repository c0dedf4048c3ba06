import type { AnyCollection } from './entity.ts';

/** A collection whose bodies hold others: what a flag gives as `mqtt.url` goes into `mqtt`, beside what a file says. */
export function nested(collection: AnyCollection): AnyCollection {
  const folding = Object.create(collection) as AnyCollection;
  return Object.assign(folding, {
    create: (body: never) => collection.create?.(unfolded(body) as never),
    update: (id: string, patch: never, options: { ifVersion?: number }) =>
      collection.update?.(id, unfolded(patch) as never, options),
  });
}

export function unfolded(body: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const whole: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(body)) {
    const [outer = '', inner] = name.split('.');
    whole[outer] = inner === undefined ? value : { ...(whole[outer] as object | undefined), [inner]: value };
  }
  return whole;
}
