import { z } from '@hono/zod-openapi';
import { userOf } from '../http/identity.ts';
import type { Call } from '../http/plane.ts';
import type { Accent } from './translation.ts';

/** An API key of that time carried all that its user might. */
const NewKey = z
  .strictObject({
    type: z.int().min(0).max(2),
    duration: z.int().min(0).max(316_224_000).optional().describe('Seconds; 0 or left out: it does not expire.'),
  })
  .transform(({ duration = 0 }) => ({
    name: 'API key',
    grants: [{ actions: ['*'], resources: ['*'] }],
    ...(duration === 0 ? {} : { expires_in: duration }),
  }));
const API_KEY = 2;
const members = z.object({
  issuer_id: z.uuid().describe('As user; a name of the classic dialect, as subject, type, issued_at and value.'),
  subject: z.string(),
  type: z.literal(API_KEY),
  issued_at: z.iso.datetime(),
});

async function kept(key: Readonly<Record<string, unknown>>, call: Call<unknown, unknown>) {
  const user = await userOf(await call.principal());
  return {
    issuer_id: key.user,
    // Of somebody else's key the dialect is told the id.
    subject: key.user === user.id ? user.email : key.user,
    type: API_KEY,
    issued_at: key.created_at,
  };
}

export const keyAccents: readonly Accent[] = [
  {
    method: 'post',
    path: '/keys',
    body: NewKey,
    adds: {
      members: members.extend({ value: z.string() }),
      from: async (key, call) => ({ ...(await kept(key, call)), value: key.secret }),
    },
  },
  { method: 'get', path: '/keys/{id}', adds: { members, from: kept } },
];
