import { z } from '@hono/zod-openapi';
import {
  type ControlAction,
  type PolicyRule,
  Protocol,
  protocolNames,
  type RequestContext,
  type Scope,
  type SubjectRecord,
  statementRules,
} from '@millrace/core';
import { example } from '../http/examples.ts';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { PageQuery, text } from '../http/schemas.ts';
import { isKnownAction } from './actions.ts';
import { isAddressBlock } from './addresses.ts';
import { ConditionBody, StatementsBody, statementAnswer, statementsOf } from './documents.ts';
import { namesOf, policiesIn, readSource, SourceAnswer, toldRules } from './sources.ts';

const DRAFTS_MAX = 10;

const SubjectBody = z.union([
  z.strictObject({ user: z.uuid() }),
  z.strictObject({ thing: z.uuid() }),
  z.strictObject({ app: z.uuid() }),
  z.strictObject({ api_key: z.uuid() }),
]);
const SimulateBody = z.strictObject({
  subject: SubjectBody.describe('Who would ask.'),
  action: z
    .string()
    .max(64)
    .refine(
      (action) => isKnownAction(action) && !action.includes('*'),
      'must be publish, subscribe or <entity>.<verb>',
    ),
  resource: text(1_024)
    .regex(/^[^*]+$/, 'must name one object, without *')
    .describe('As channels/<id>/messages/<subtopic>, things/<id>, things.'),
  context: z
    .strictObject({
      protocol: z.enum(protocolNames).optional().describe('http if left out'),
      address: text(64)
        .refine((value) => isAddressBlock(value) && !value.includes('/'), 'is no address')
        .optional()
        .describe('Yours if left out.'),
      tls: z.boolean().optional(),
      mutual_tls: z.boolean().optional(),
      time: z.iso.datetime({ offset: true }).optional().describe('Now if left out.'),
    })
    .optional(),
  policies: z
    .array(z.strictObject({ name: text(256).optional(), statements: StatementsBody }))
    .max(DRAFTS_MAX)
    .optional()
    .describe('Documents that are not saved: what they would change if they were attached to the subject.'),
});
const DecisionAnswer = z
  .object({
    allowed: z.boolean(),
    reason: z.enum([
      'allowed',
      'administrator',
      'not_allowed',
      'denied_by_policy',
      'subject_disabled',
      'other_organisation',
      'outside_scope',
      'no_such_resource',
      'resource_disabled',
    ]),
    statement: z
      .object({
        effect: z.enum(['allow', 'deny']),
        actions: z.array(z.string()),
        resources: z.array(z.string()),
        condition: z.union([ConditionBody, z.null()]),
        source: SourceAnswer,
      })
      .nullable()
      .describe('What decided: the statement of a policy, a connection or a role; null where nothing did.'),
  })
  .openapi('Decision');

export const simulateRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/policies/simulate',
      tag: 'policies',
      summary: 'Ask how a request would be decided, and by which statement',
      description: 'Nothing happens and nothing is remembered. Everybody may ask about themselves.',
      query: PageQuery.pick({ org: true }),
      body: SimulateBody,
      answers: { 200: { description: 'The decision.', schema: DecisionAnswer } },
      examples: [
        {
          name: 'may this thing publish',
          body: {
            subject: { thing: example.thing },
            action: 'publish',
            resource: `channels/${example.channel}/messages/hall`,
            context: { protocol: 'mqtt', address: '192.0.2.7', time: '2026-01-05T12:00:00Z' },
          },
          status: 200,
        },
        {
          name: 'what a draft would change',
          body: {
            subject: { user: example.member },
            action: 'things.delete',
            resource: `things/${example.thing}`,
            policies: [{ statements: [{ effect: 'deny', actions: ['*.delete'], resources: ['*'] }] }],
          },
          status: 200,
        },
      ],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      const asker = await call.principal();
      const asked = await subjectOf(call, plane, org);
      // Before it is known whether there is such a subject: that is for those who may know.
      const isSelf = asked !== null && asked.subject.id === asker.subject.id && asker.scope === null;
      if (!isSelf) await permit(call, plane, org, 'policies', 'policies.read');
      if (asked === null) throw notFound('subject');
      return json(200, await decide(call, plane, org, asked));
    },
  ),
];

type SimulateCall = Call<unknown, z.output<typeof SimulateBody>>;
interface Asked {
  readonly subject: SubjectRecord;
  readonly scope: Scope | null;
}

/** Who would ask, if they are of the organisation. */
async function subjectOf({ body: { subject } }: SimulateCall, plane: Plane, org: string): Promise<Asked | null> {
  const { directory, access, users } = plane.registry;
  if ('api_key' in subject) {
    const key = await access.keys.get(subject.api_key);
    const user = key === null || key.org !== org ? null : await directory.subject(key.user);
    if (key === null || user === null) return null;
    const isLive = key.enabled && (key.expiresAt === null || key.expiresAt.getTime() > access.now());
    return { subject: { ...user, enabled: user.enabled && isLive }, scope: { id: key.id, org, grants: key.grants } };
  }
  const [kind, id] = Object.entries(subject)[0] as [string, string];
  const found = await directory.subject(id.toLowerCase());
  if (found === null) return null;
  if (found.kind === 'thing') {
    const isAsked = kind === 'thing' || (kind === 'app' && found.type === 'app');
    return isAsked && found.org === org ? { subject: found, scope: null } : null;
  }
  const isMember = (await users.memberships(found.id)).some((membership) => membership.org === org);
  return kind === 'user' && isMember ? { subject: found, scope: null } : null;
}

async function decide(call: SimulateCall, plane: Plane, org: string, { subject, scope }: Asked) {
  const { action, resource, policies: given = [] } = call.body;
  const refused = (reason: string) => ({ allowed: false, reason, statement: null });
  const object = resource.replace(/^[^/]+\/[^/]+/, (root) => root.toLowerCase());
  const place = await plane.registry.access.placeOf(org, object);
  if (!place.exists) return refused('no_such_resource');
  // Messages stop at a channel that is disabled; what is disabled can still be looked after.
  const isMessage = action === 'publish' || action === 'subscribe';
  if (isMessage && !place.enabled) return refused('resource_disabled');
  const drafts = given.map(({ statements }) => statementsOf(statements));
  const extra = drafts.flatMap((statements, draft) =>
    statements.flatMap((statement, index) =>
      statementRules(statement, subject.id, subject, org, `draft ${draft} ${statement.sid ?? index}`),
    ),
  );
  const { allowed, reason, rule } = await plane.gate.explain({
    subject,
    scope,
    org,
    object,
    action: action as ControlAction,
    groups: place.groups,
    context: contextOf(call),
    extra,
  });
  if (rule === null) return { allowed, reason, statement: null };
  const saved = await plane.registry.access.policies.many(org, policiesIn([rule]));
  const names = namesOf(saved);
  for (const [draft, { name = '' }] of given.entries()) names.set(`draft ${draft}`, name);
  const source = readSource(rule, names);
  // As it was written, not as it was filled in for this subject.
  const statements = source.kind === 'draft' ? drafts[draftOf(rule)] : saved[0]?.statements;
  const written = statements?.find(({ sid }, index) => (sid ?? String(index)) === source.sid);
  const [told] = toldRules([rule], names);
  return {
    allowed,
    reason,
    statement: {
      effect: told?.effect,
      actions: written?.actions ?? told?.actions,
      resources: written?.resources ?? told?.resources,
      condition: written === undefined ? told?.condition : (statementAnswer(written).condition ?? null),
      source,
    },
  };
}

const draftOf = ({ source = '' }: PolicyRule): number => Number(source.split(' ')[1]);

function contextOf({ body: { context = {} }, peer }: SimulateCall): RequestContext {
  const mutualTls = context.mutual_tls ?? false;
  return {
    protocol: Protocol[context.protocol ?? 'http'],
    remoteAddress: context.address ?? peer.remoteAddress,
    tls: context.tls ?? mutualTls,
    mutualTls,
    nowMs: context.time === undefined ? Date.now() : Date.parse(context.time),
  };
}
