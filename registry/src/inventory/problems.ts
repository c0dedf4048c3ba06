import type { Answer } from '../http/route.ts';
import { ProblemAnswer } from '../http/schemas.ts';
import { DeletedAnswer } from './schemas.ts';

const problem = (description: string): Answer => ({
  description,
  type: 'application/problem+json',
  schema: ProblemAnswer,
});

/** What may go wrong where If-Match is looked at. */
export const matched: Readonly<Record<number, Answer>> = {
  400: problem('The request is malformed, or If-Match is no ETag.'),
  412: problem('It is at another version than If-Match says.'),
};
export const conflicting = { 409: problem('It is taken, or still needed.') };
export const wrong = { 422: problem('The request is well-formed, but wrong; detail says what.') };

/** What a deletion answers. */
export const removed: Readonly<Record<number, Answer>> = {
  200: { description: 'It is gone; what went with it (Prefer: return=representation).', schema: DeletedAnswer },
  204: { description: 'It is gone; the header Deleted says what went with it.' },
  ...matched,
};
