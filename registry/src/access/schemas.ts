import { z } from '@hono/zod-openapi';
import { bulk, id, metadata, ProblemAnswer, shared, tags, text } from '../http/schemas.ts';
import { attachmentKinds } from './attachments.ts';
import { StatementBody, StatementsBody } from './documents.ts';

const name = text(256).min(1);
const description = text(4_096);

export const NewPolicyBody = z.strictObject({
  id: id.optional(),
  name,
  description: description.optional(),
  enabled: z.boolean().optional(),
  statements: StatementsBody,
  metadata: metadata.optional(),
  tags: tags.optional(),
});
export const PoliciesBody = bulk(NewPolicyBody);
export const PolicyPatchBody = NewPolicyBody.omit({ id: true }).partial();
export const RollbackBody = z.strictObject({ version: z.int().min(1).max(2_147_483_647) });

export const PolicyAnswer = z
  .object({
    ...shared,
    description: z.string(),
    statements: z.array(StatementBody),
    statements_version: z.int().describe('Counts the versions of the statements; version counts all changes.'),
  })
  .openapi('Policy');
export const PolicyListAnswer = z.object({ policies: z.array(PolicyAnswer) });
export const PolicyVersionAnswer = z
  .object({
    version: z.int(),
    statements: z.array(StatementBody),
    author: z.uuid().nullable().describe('The user who wrote it; null if the platform did.'),
    created_at: z.iso.datetime(),
  })
  .openapi('PolicyVersion');
export const AttachmentAnswer = z
  .object({
    policy: z.uuid(),
    kind: z.enum(attachmentKinds),
    target: z.string().describe('An id; of a built-in role its name.'),
    created_at: z.iso.datetime(),
  })
  .openapi('Attachment');
export const DeletedAnswer = z
  .object({ deleted: z.record(z.string(), z.int()) })
  .openapi('Deleted', { description: 'What went with it, by what it was.' });

/** A refusal, as an answer of the document. */
export const refused = (told: string) => ({
  description: told,
  schema: ProblemAnswer,
  type: 'application/problem+json',
});
export const mismatch = refused('It was changed since; its ETag is another than If-Match says.');
export const malformedMatch = refused('If-Match is no ETag, or a parameter is wrong.');
/** What a deletion answers. */
export const gone = {
  200: { description: 'It is gone, and what went with it (Prefer: return=representation).', schema: DeletedAnswer },
  204: { description: 'It is gone.' },
  412: mismatch,
} as const;
