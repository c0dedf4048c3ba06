import type { Millrace, Rest } from '../millrace.ts';
import type { Identity, Place } from './clients/client.ts';

export type Right = 'publish' | 'subscribe';

/** Where a node's listeners are now: they move when it is started again. */
export const placeOf = ({ url, mqtt }: Millrace): Place => ({ http: url, mqtt });

export async function newChannel(admin: Rest, name: string): Promise<string> {
  return (await admin.json<{ id: string }>('POST', '/channels', { name })).id;
}

/** A new thing that may do this on these channels. */
export async function newThing(
  admin: Rest,
  name: string,
  channels: readonly string[],
  types: readonly Right[] = ['publish', 'subscribe'],
): Promise<Identity> {
  const { id, key } = await admin.json<{ id: string; key: string }>('POST', '/things', { name });
  if (channels.length > 0) await admin.json('POST', '/connect', { channel_ids: channels, thing_ids: [id], types });
  return { thing: id, key };
}
