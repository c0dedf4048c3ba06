import type { z } from '@hono/zod-openapi';
import type { ControlAction } from '@millrace/core';
import { authorOf } from '../access/policy-lookup.ts';
import { RegistryError } from '../error.ts';
import { example } from '../http/examples.ts';
import { permit } from '../http/identity.ts';
import { OneByOne } from '../http/one-by-one.ts';
import type { Call, Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { problem } from '../people/answers.ts';
import { orgFor } from '../people/org-routes.ts';
import type { Org } from '../people/orgs.ts';
import { planAnswer } from './answer.ts';
import { manifestOf } from './document.ts';
import type { Members } from './members.ts';
import { isEmpty, makePlan, type Plan } from './plan.ts';
import { Problems, told } from './problems.ts';
import { permitChanges, permitReading } from './rights.ts';
import {
  ApplyBody,
  CONNECTIONS_MAX,
  ENTITIES_MAX,
  ManifestBody,
  type ManifestInput,
  type ManifestKind,
  ManifestQuery,
  manifestKinds,
  PlanAnswer,
  PlanBody,
} from './schemas.ts';
import type { State, ThingState } from './state.ts';
import { Tree } from './tree.ts';

const tag = 'manifest';
const BYTES_MAX = 16 * 1024 * 1024;
/** Somebody else changes the organisation between each look and the turn. */
const TRIES_MAX = 5;
/** Organisations are read and planned for one at a time: each may be large. */
const planning = new OneByOne(32, 'Too many manifests are being read. Try again later.');
const parameters = { id: example.org };
const manifest = {
  version: 1,
  groups: [{ name: 'plant', groups: [{ name: 'hall-1' }] }],
  channels: [{ name: 'Temperatures', alias: 'temperatures' }],
  things: [
    { name: 'thermometer-1', group: 'plant/hall-1', channels: [{ channel: 'temperatures', types: ['publish'] }] },
  ],
};

export const manifestRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/orgs/{id}/manifest',
      tag,
      summary: 'An organisation as one document',
      description:
        'Its groups, roles, channels, things, connections and policies. Applied where it comes from, it changes nothing.',
      query: ManifestQuery,
      answers: {
        200: { description: 'The manifest.', schema: ManifestBody },
        422: problem('The organisation is too large for one document.'),
      },
      examples: [
        { name: 'all', parameters, status: 200 },
        {
          name: 'groups and channels, with ids',
          parameters,
          query: { kinds: 'groups,channels', ids: 'true' },
          status: 200,
        },
      ],
    },
    read,
  ),
  route(
    {
      method: 'post',
      path: '/orgs/{id}/manifest/plan',
      tag,
      summary: 'What applying a manifest would change',
      description:
        'Nothing is changed. What is there is found by id, else by name (channels also by alias, groups by their path); members that are left out are left as they are.',
      body: PlanBody,
      bodyBytesMax: BYTES_MAX,
      answers: { 200: { description: 'The plan.', schema: PlanAnswer } },
      examples: [{ name: 'a thing in a hall', parameters, body: { manifest }, status: 200 }],
    },
    async (call, plane) => {
      const org = await orgFor(call, plane, 'orgs.read');
      const plan = await planFor(call, plane, org);
      return json(200, planAnswer(plan, plan.state.version, false));
    },
  ),
  route(
    {
      method: 'post',
      path: '/orgs/{id}/manifest/apply',
      tag,
      summary: 'Make an organisation match a manifest, all of it or nothing',
      description:
        'Each change takes the right that it would take by itself. Nothing is deleted, disconnected or detached without prune, and never what is of a kind that the manifest has no list of.',
      body: ApplyBody,
      bodyBytesMax: BYTES_MAX,
      versionInBody: true,
      answers: {
        200: { description: 'What was changed; nothing, if all was so already.', schema: PlanAnswer },
        409: problem('Something is taken, or still needed.'),
        412: problem('The organisation was changed since the plan was made.'),
      },
      examples: [{ name: 'a thing in a hall', parameters, body: { manifest }, status: 200 }],
    },
    apply,
  ),
];

async function read(call: Call<z.output<typeof ManifestQuery>, unknown>, plane: Plane): Promise<Response> {
  const org = await orgFor(call, plane, 'orgs.read');
  const { ids = false, keys = false, full = false } = call.query;
  const kinds = new Set<ManifestKind>(call.query.kinds ?? manifestKinds);
  for (const kind of kinds) await permit(call, plane, org.id, kind, `${kind}.list` as ControlAction);
  const principal = await call.principal();
  const named = new Set<ManifestKind | 'members'>(kinds);
  for (const kind of [...manifestKinds, 'members'] as const)
    if (await plane.gate.allows(principal, org.id, kind, `${kind}.list`, call.context)) named.add(kind);
  const state = await planning.run(() => plane.registry.manifests.state(org.id));
  if (keys && kinds.has('things')) await permitKeys(call, plane, org.id, state, state.things);
  checkSize(state, kinds);
  const secretsOf = keys ? (thing: ThingState) => secrets(plane, thing) : null;
  return json(200, manifestOf(org.name || org.id, state, { kinds, named, ids, full, secretsOf }));
}

/** What could not be applied is not told.  @throws Refusal 422 */
function checkSize(state: State, kinds: ReadonlySet<ManifestKind>): void {
  const entities = [...kinds].reduce((sum, kind) => sum + (kind === 'connections' ? 0 : state[kind].length), 0);
  const connections = kinds.has('connections') ? state.connections.length : 0;
  if (entities <= ENTITIES_MAX && connections <= CONNECTIONS_MAX) return;
  throw new Refusal(
    422,
    `A manifest holds at most ${ENTITIES_MAX} entities and ${CONNECTIONS_MAX} connections: ask for fewer kinds.`,
  );
}

/** Who may update a thing may see its key.  @throws Refusal 403 */
async function permitKeys(
  call: Call<unknown, unknown>,
  plane: Plane,
  org: string,
  { groups }: State,
  things: readonly ThingState[],
): Promise<void> {
  const tree = new Tree(groups);
  for (const { id, group, machine } of things) {
    await permit(call, plane, org, `things/${id}`, 'things.update', { groups: tree.branch(group) });
    if (machine) await permit(call, plane, org, `apps/${id}`, 'apps.update');
  }
}

/** @throws RegistryError REGISTRY_SECRET_MISMATCH */
function secrets({ registry: { things } }: Plane, thing: ThingState): Members {
  const externalKey = things.externalKey(thing);
  return { key: things.key(thing), ...(externalKey === null ? {} : { external_key: externalKey }) };
}

interface Asked {
  readonly manifest: ManifestInput;
  readonly prune?: boolean | undefined;
}

/** @throws Refusal 403, 422 */
async function planFor(call: Call<unknown, Asked>, plane: Plane, org: Org): Promise<Plan> {
  const { manifest: given, prune = false } = call.body;
  const { registry } = plane;
  checkOrg(given, org);
  await permitReading(call, plane, org.id, given);
  const plan = await planning.run(async () => {
    const state = await registry.manifests.state(org.id);
    return makePlan(given, state, prune, (key) => registry.credentials.digest(key));
  });
  // Whether a key differs is told only to who may see it: else it could be guessed at.
  const keyed = plan.wanted.things.flatMap(({ before, members: { key, external_key } }) =>
    before !== null && (key !== undefined || external_key !== undefined) ? [before] : [],
  );
  await permitKeys(call, plane, org.id, plan.state, keyed);
  return plan;
}

/** @throws Refusal 422 for a manifest of another organisation */
function checkOrg({ org: meant }: ManifestInput, org: Org): void {
  if (meant === undefined || [org.name, org.alias, org.id].includes(meant) || meant.toLowerCase() === org.id) return;
  const problems = new Problems();
  problems.add('org', `this is ${told(org.name || org.id)}, not ${told(meant)}`);
  problems.refuse();
}

/** What was judged is what is done: who comes in between makes it be planned and judged anew. */
async function apply(call: Call<unknown, z.output<typeof ApplyBody>>, plane: Plane): Promise<Response> {
  const org = await orgFor(call, plane, 'orgs.read');
  const { if_version: expected } = call.body;
  const author = await authorOf(call);
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const plan = await planFor(call, plane, org);
    const { version: before } = plan.state;
    if (expected !== undefined && expected !== before)
      throw new Refusal(412, 'The organisation was changed since the plan was made: make a new one.');
    if (isEmpty(plan)) return json(200, planAnswer(plan, before, true));
    await permitChanges(call, plane, org.id, plan);
    const version = await attempt(plane, org.id, plan, author);
    if (version !== null) return json(200, planAnswer(plan, version, true));
  }
  throw new Refusal(503, 'Others keep changing the organisation. Try again later.', { 'retry-after': '2' });
}

/** null if something was changed meanwhile. */
async function attempt({ registry }: Plane, org: string, plan: Plan, author: string | null): Promise<string | null> {
  const { roles, things, thingKeys, channels, connections, groups } = registry;
  const { policies, attachments } = registry.access;
  const makers = { roles, things, thingKeys, channels, connections, groups, policies, attachments };
  const { unchanged: _, ...summary } = planAnswer(plan, '', true).summary;
  try {
    return await registry.manifests.apply(org, plan, author, makers, summary);
  } catch (error) {
    if (error instanceof RegistryError && error.code === 'REGISTRY_VERSION_MISMATCH') return null;
    throw error;
  }
}
