import { type OrgRole, orgRoles } from '@millrace/core';
import { z } from 'zod';

/** One number for all, or one for each role: `viewer=10,editor=30`. Roles that are not named have the number of the one
 *  before them, in the order viewer, editor, admin, owner. */
const byRole = (standard: string, min: number, max: number) =>
  z
    .string()
    .default(standard)
    .transform((text, context): Readonly<Record<OrgRole, number>> => {
      const parts = text.split(',').map((part) => part.trim().split('='));
      const given = new Map<string, number>();
      for (const [first = '', second] of parts) {
        const [role, value] = second === undefined ? ['viewer', first] : [first.trim(), second];
        const number = /^\d+$/.test(value.trim()) ? Number(value) : Number.NaN;
        if (!(orgRoles as readonly string[]).includes(role) || !(number >= min && number <= max)) {
          context.addIssue({
            code: 'custom',
            message: `must be a number from ${min} to ${max}, or viewer=…,editor=…,admin=…,owner=…`,
          });
          return z.NEVER;
        }
        given.set(role, number);
      }
      const viewer = given.get('viewer') ?? Math.min(...given.values());
      const editor = given.get('editor') ?? viewer;
      const admin = given.get('admin') ?? editor;
      return { viewer, editor, admin, owner: given.get('owner') ?? admin };
    });

/** Settings of this topic: parts of RegistryConfig. */
export const sqlConfig = {
  MILLRACE_SQL_SECONDS: byRole('viewer=10,editor=30,admin=60', 1, 3_600).describe(
    'Time that a statement of POST /sql may take, by role of who asks (viewer=…,editor=…,admin=…,owner=…, or one number); roles of an organisation’s own count as viewer.',
  ),
  MILLRACE_SQL_MEMORY_BYTES: byRole('viewer=268435456,editor=536870912', 16_777_216, 1_099_511_627_776).describe(
    'Memory of a statement in ClickHouse, by role.',
  ),
  MILLRACE_SQL_ROWS_READ: byRole('viewer=50000000,editor=500000000,admin=2000000000', 1_000, 1e15).describe(
    'Rows that a statement may read, by role.',
  ),
  MILLRACE_SQL_RESULT_ROWS: byRole('viewer=10000,editor=100000,admin=1000000', 1, 1e12).describe(
    'Rows that a statement may answer, by role.',
  ),
  MILLRACE_SQL_RESULT_BYTES: byRole('viewer=16777216,editor=67108864,admin=268435456', 1_024, 1e12).describe(
    'Bytes that a statement may answer, in the format of the answer, by role; of JSON at most 64 MiB.',
  ),
  MILLRACE_SQL_AT_ONCE: byRole('4', 1, 1_000).describe(
    'Statements of an organisation that one node runs at once, by role of who asks; a further one is 429.',
  ),
  MILLRACE_SAVED_QUERIES_PER_ORG_MAX: z.coerce
    .number()
    .int()
    .min(0)
    .max(100_000)
    .default(1_000)
    .describe('Saved queries that an organisation may have.'),
};
