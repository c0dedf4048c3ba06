import { z } from '@hono/zod-openapi';
import { type Condition, controlEntities, isUuid, type PolicyStatement, protocolNames } from '@millrace/core';
import { text } from '../http/schemas.ts';
import { isKnownAction } from './actions.ts';
import { isAddressBlock } from './addresses.ts';
import { readResource } from './covering.ts';

/** How policies are written, by people and programs; made into what the gate judges by. */

const STATEMENTS_MAX = 100;
const DOCUMENT_BYTES_MAX = 64 * 1024;
/** Each action on each resource is a rule of its own. */
const RULES_MAX = 1_000;
const CONDITION_DEPTH_MAX = 6;

const KNOWN_VARIABLES = ['thing.id', 'user.id', 'user.email'];
/** @holds a variable is within one segment of a resource: what covers it is told segment by segment */
const THING_METADATA = /^thing\.metadata\.[^\s${}/*]{1,128}$/;

function hasKnownVariables(value: string): boolean {
  const names = [...value.matchAll(/\$\{([^}]*)\}/g)].map((match) => match[1] ?? '');
  if (!names.every((name) => KNOWN_VARIABLES.includes(name) || THING_METADATA.test(name))) return false;
  return !value.replaceAll(/\$\{[^}]*\}/g, '').includes('${');
}
// biome-ignore lint/suspicious/noTemplateCurlyInString: variables of policies
const VARIABLES_TOLD = 'variables are ${thing.id}, ${thing.metadata.<name>}, ${user.id} and ${user.email}';
const NO_VARIABLES = 'holds a variable, which can not stand here';

const roots: ReadonlySet<string> = new Set(controlEntities);

/** What is wrong with a resource; null if nothing. */
export function resourceProblem(resource: string): string | null {
  const { group, pattern } = readResource(resource);
  if (resource.startsWith('group:') && (group === null || !isUuid(group)))
    return 'a group is written group:<id of the group>/<pattern>';
  if (!hasKnownVariables(pattern)) return VARIABLES_TOLD;
  if (/\p{Cc}/u.test(pattern)) return 'holds a control character';
  if (pattern === '*') return null;
  const segments = pattern.split('/');
  const [root = '', id = ''] = segments;
  if (!roots.has(root.endsWith('*') && segments.length === 1 ? root.slice(0, -1) : root))
    return `must start with one of ${[...roots].join(', ')}, or be *`;
  for (const [index, segment] of segments.entries()) {
    if (segment === '') return 'has an empty segment';
    const star = segment.indexOf('*');
    const last = index === segments.length - 1;
    if (star !== -1 && (last ? star !== segment.length - 1 : segment !== '*'))
      return 'a * stands for a whole segment, or at the end for any rest';
  }
  if (segments.length > 1 && !isUuid(id) && !id.includes('*') && !id.includes('${'))
    return `names ${root} by what is no id: ids are UUIDs, or * for any`;
  return null;
}

const UUID = /[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}/gi;

const actionText = z
  .string()
  .max(64)
  .refine(isKnownAction, 'must be publish, subscribe, <entity>.<verb> with either part known or *, or *');
const resourceText = text(512)
  .superRefine((value, context) => {
    const message = resourceProblem(value);
    if (message !== null) context.addIssue({ code: 'custom', message });
  })
  // The gate compares ids as text.
  .overwrite((value) => value.replaceAll(UUID, (id) => id.toLowerCase()));

const plain = (charactersMax: number) => text(charactersMax).refine((value) => !value.includes('${'), NO_VARIABLES);
const withVariables = (charactersMax: number) => text(charactersMax).refine(hasKnownVariables, VARIABLES_TOLD);
const minute = plain(5).regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'must be HH:MM');
const subtopic = withVariables(1_024).refine(
  (value) =>
    value
      .split('/')
      .every((part, index, { length }) => (part === '#' ? index === length - 1 : part === '+' || !/[+#]/.test(part))),
  '+ must be a whole segment, # the last one',
);

export const ActionsSchema = z.array(actionText).min(1).max(100);
export const ResourcesSchema = z.array(resourceText).min(1).max(100);
export const ConditionBody = z
  .strictObject({
    protocol: z.array(z.enum(protocolNames)).min(1).max(10).optional().describe('Any of.'),
    address: z
      .array(plain(64).refine(isAddressBlock, 'no address and no CIDR block'))
      .min(1)
      .max(100)
      .optional()
      .describe('Any of these addresses or CIDR blocks, v4 or v6.'),
    tls: z.boolean().optional(),
    mutual_tls: z.boolean().optional().describe('Whether the client proved itself by a certificate.'),
    time: z
      .strictObject({
        from: z.iso.datetime({ offset: true }).optional(),
        to: z.iso.datetime({ offset: true }).optional(),
      })
      .refine(({ from, to }) => from !== undefined || to !== undefined, 'needs from or to')
      .optional()
      .describe('From inclusive, to exclusive.'),
    hours: z
      .strictObject({
        from: minute,
        to: minute,
        days: z.array(z.int().min(1).max(7)).min(1).max(7).optional().describe('1 is Monday.'),
      })
      .optional()
      .describe('Of each day in UTC; over midnight if to is not after from.'),
    subtopic: z
      .array(subtopic)
      .min(1)
      .max(100)
      .optional()
      .describe('Any of; + stands for one segment, # at the end for any rest. Of messages only.'),
    metadata: z
      .record(text(128).min(1), z.union([withVariables(1_024), z.number(), z.boolean()]))
      .refine((value) => Object.keys(value).length > 0, 'names nothing')
      .optional()
      .describe("The thing's metadata holds these values at its top level."),
    get not() {
      return ConditionBody.optional().describe('None of it holds.');
    },
  })
  .openapi('Condition');
export type ConditionInput = z.output<typeof ConditionBody>;

export const StatementBody = z
  .strictObject({
    sid: text(64)
      .regex(/^[\w.:-]+$/, 'may hold letters, digits and _ . : -')
      .optional()
      .describe('Names the statement within its policy; its index if left out.'),
    effect: z.enum(['allow', 'deny']).describe('A deny overrides every allow.'),
    actions: ActionsSchema.describe('publish, subscribe, <entity>.<verb>, <entity>.*, *.'),
    resources: ResourcesSchema.describe(
      'Objects, as channels/<id>/messages/<subtopic>, things/<id>, things; * at the end for any rest, group:<id>/… for what lies in a group.',
    ),
    condition: ConditionBody.optional(),
  })
  .openapi('Statement');
type StatementInput = z.output<typeof StatementBody>;

export const StatementsBody = z
  .array(StatementBody)
  .min(1)
  .max(STATEMENTS_MAX)
  .superRefine((statements, context) => {
    const issue = (message: string, path: (string | number)[] = []): void =>
      context.addIssue({ code: 'custom', message, path });
    if (Buffer.byteLength(JSON.stringify(statements)) > DOCUMENT_BYTES_MAX)
      issue(`is larger than ${DOCUMENT_BYTES_MAX} bytes`);
    const rules = statements.reduce((sum, { actions, resources }) => sum + actions.length * resources.length, 0);
    if (rules > RULES_MAX) issue(`makes ${rules} rules (actions × resources); at most ${RULES_MAX}`);
    const names = new Set<string>();
    for (const [index, { sid, condition }] of statements.entries()) {
      if (sid !== undefined && names.has(sid)) issue('another statement has it', [index, 'sid']);
      if (sid !== undefined) names.add(sid);
      if (depthOf(condition) > CONDITION_DEPTH_MAX) issue('nests too deeply', [index, 'condition']);
    }
  });

function depthOf(condition: ConditionInput | undefined): number {
  let depth = 0;
  for (let at = condition; at !== undefined; at = at.not) depth++;
  return depth;
}

/** As the gate takes it. */
export const statementsOf = (given: readonly StatementInput[]): PolicyStatement[] =>
  given.map(({ sid, effect, actions, resources, condition }) => ({
    ...(sid === undefined ? {} : { sid }),
    effect,
    actions: [...new Set(actions)],
    resources: [...new Set(resources)],
    ...(condition === undefined || isEmpty(condition) ? {} : { condition: conditionOf(condition) }),
  }));

/** As people write it. */
export const statementAnswer = ({ condition, ...rest }: PolicyStatement) => ({
  ...rest,
  ...(condition === undefined ? {} : { condition: conditionAnswer(condition) }),
});

const isEmpty = (condition: ConditionInput): boolean => Object.values(condition).every((value) => value === undefined);

function conditionOf({ mutual_tls, not, ...rest }: ConditionInput): Condition {
  return defined({
    ...rest,
    mutualTls: mutual_tls,
    not: not === undefined ? undefined : conditionOf(not),
  }) as Condition;
}

export function conditionAnswer({ mutualTls, not, ...rest }: Condition): Record<string, unknown> {
  return defined({ ...rest, mutual_tls: mutualTls, not: not === undefined ? undefined : conditionAnswer(not) });
}

/** Without what is undefined, at any depth: the gate reads JSON. */
const defined = (value: object): Record<string, unknown> =>
  JSON.parse(JSON.stringify(value)) as Record<string, unknown>;
