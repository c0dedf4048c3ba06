import { z } from '@hono/zod-openapi';
import { example } from '../http/examples.ts';
import { json, type Route } from '../http/route.ts';
import { ProblemAnswer } from '../http/schemas.ts';
import { MeAnswer } from '../people/schemas.ts';
import { metadata, Told } from './schemas.ts';
import { type Ask, translated } from './translation.ts';

const tag = 'classic dialect';
const slower = {
  description: 'Too many tries; try again after Retry-After.',
  schema: ProblemAnswer,
  type: 'application/problem+json',
};
const word = z.string().max(1_024);
const done = { description: 'Done.', schema: z.object({}) };

export const classicPeople = (ask: Ask): readonly Route[] => [
  translated(
    ask,
    {
      method: 'get',
      path: '/users/profile',
      tag,
      summary: 'Who am I',
      answers: { 200: { description: 'The user.', schema: MeAnswer } },
      examples: [{ name: 'who am I', status: 200 }],
    },
    () => ({ method: 'get', path: '/users/me' }),
  ),
  translated(
    ask,
    {
      method: 'put',
      path: '/users',
      tag,
      summary: 'Change my metadata',
      body: z.strictObject({ metadata }),
      answers: { 200: { description: 'The user.', schema: MeAnswer } },
      examples: [{ name: 'a note', body: { metadata: { shift: 'night' } }, status: 200 }],
    },
    ({ body }) => ({ method: 'patch', path: '/users/me', body }),
  ),
  translated(
    ask,
    {
      method: 'patch',
      path: '/password',
      tag,
      summary: 'Change my password',
      description: 'All sessions end, the token of this request with them: log in again.',
      body: z.strictObject({ old_password: word, password: word }),
      answers: { 201: done, 429: slower },
      examples: [
        {
          name: 'a better one',
          body: { old_password: example.password, password: 'a horse of another colour' },
          status: 201,
        },
      ],
    },
    ({ body }) => ({ method: 'put', path: '/users/me/password', body }),
    () => json(201, {}),
  ),
  translated(
    ask,
    {
      method: 'post',
      path: '/password/reset-request',
      tag: 'users',
      summary: 'Ask for a mail to reset a password by',
      description: 'The answer is the same for an address that nobody has.',
      open: true,
      body: z.strictObject({ email: z.string().max(320) }),
      answers: { 201: { description: 'If there is such a user, a mail is on its way.', schema: Told }, 429: slower },
      examples: [{ name: 'forgotten', body: { email: 'nobody@example.org' }, status: 201 }],
    },
    ({ body }) => ({ method: 'post', path: '/password/reset-request', body }),
    () => json(201, { msg: 'Email with reset link is sent' }),
  ),
  translated(
    ask,
    {
      method: 'put',
      path: '/password/reset',
      tag,
      summary: 'Set a new password by the token of a mail',
      open: true,
      body: z
        .strictObject({ token: z.string().min(1).max(256), password: word, confirm_password: word })
        .refine((body) => body.password === body.confirm_password, {
          message: 'is not the same',
          path: ['confirm_password'],
        }),
      answers: { 201: done },
      examples: [
        {
          name: 'as the mail says',
          as: 'nobody',
          body: { token: example.resetToken, password: example.password, confirm_password: example.password },
          status: 201,
        },
      ],
    },
    ({ body: { token, password } }) => ({ method: 'post', path: '/password/reset', body: { token, password } }),
    () => json(201, {}),
  ),
];
