import type { z } from '@hono/zod-openapi';
import { statementsOf } from '../access/documents.ts';
import type { Access } from '../access/index.ts';
import type { ChangeSession } from '../changes.ts';
import { RegistryError } from '../error.ts';
import { Refusal } from '../http/refusal.ts';
import { channelPatch, newChannel } from '../inventory/channel-answers.ts';
import type { Inventory } from '../inventory/index.ts';
import type { ChannelPatchBody, NewChannelBody, NewThingBody, ThingPatchBody } from '../inventory/schemas.ts';
import { newThing, thingPatch } from '../inventory/thing-answers.ts';
import type { People } from '../people/index.ts';
import type { NewRole } from '../people/roles.ts';
import type { Members } from './members.ts';
import type { Plan, Update } from './plan.ts';
import type { ThingState } from './state.ts';

/** What makes the changes: the same as when they are asked for one by one. */
export interface Makers
  extends Pick<People, 'roles'>,
    Pick<Inventory, 'things' | 'thingKeys' | 'channels' | 'connections' | 'groups'>,
    Pick<Access, 'policies' | 'attachments'> {}

/** Carries a plan out, as a part of a transaction, in an order in which each change finds what it needs.
 *  @param author who writes policies; null if it is no user
 *  @throws RegistryError REGISTRY_VERSION_MISMATCH if something is not as the plan found it, and as each change */
export async function carryOut(
  tx: ChangeSession,
  org: string,
  plan: Plan,
  author: string | null,
  makers: Makers,
): Promise<void> {
  const { roles, channels, connections, groups, policies, attachments } = makers;
  for (const { policy, kind, target } of plan.detach) await attachments.detachIn(tx, org, policy, { kind, target });
  for (const { id, version } of plan.policies.remove) there(await policies.removeIn(tx, id, true, version));
  for (const { id, version } of plan.things.remove) there(await makers.things.removeIn(tx, id, version));
  for (const { id, version } of plan.channels.remove) there(await channels.removeIn(tx, id, version));
  for (const { id } of plan.roles.remove) there(await roles.removeIn(tx, id, false));

  // Those above stand before those below, be they new or not.
  const regrouped = new Map(plan.groups.update.map((update) => [update.before.id, update]));
  const fresh = new Set(plan.groups.create.map(({ id }) => id));
  for (const { id, members } of plan.wanted.groups) {
    const update = regrouped.get(id);
    if (fresh.has(id)) await groups.createIn(tx, org, { id, ...groupOf(members) });
    else if (update !== undefined) there(await groups.updateIn(tx, id, groupOf(update.members), update.before.version));
  }
  for (const { id, members } of plan.roles.create) {
    const made = await roles.createIn(tx, org, { id, ...(members as unknown as NewRole) });
    if (made === null) throw new Refusal(409, 'The organisation has as many roles as it may.');
  }
  for (const { before, members } of plan.roles.update)
    there(await roles.updateIn(tx, before.id, members as Partial<NewRole>, before.version));
  if (plan.channels.create.length > 0)
    await channels.createIn(
      tx,
      org,
      plan.channels.create.map(({ id, members }) =>
        newChannel({ id, ...(inGroup(members) as z.output<typeof NewChannelBody>) }),
      ),
    );
  for (const { before, members } of plan.channels.update) {
    const patch = channelPatch(inGroup(members) as z.output<typeof ChannelPatchBody>);
    there(await channels.updateIn(tx, before.id, patch, before.version));
  }
  await carryOutThings(tx, org, plan, makers);
  if (plan.connections.length > 0)
    await connections.settleIn(
      tx,
      org,
      plan.connections.map(({ after }) => after),
    );
  await carryOutPolicies(tx, org, plan, author, makers);
  // What was in them has gone elsewhere by now; those below go before those above.
  const gone = plan.groups.remove.toSorted(
    (one, other) => plan.before.branch(other.id).length - plan.before.branch(one.id).length,
  );
  for (const { id, version } of gone) there(await groups.removeIn(tx, id, false, version));
}

async function carryOutThings(
  tx: ChangeSession,
  org: string,
  plan: Plan,
  { things, thingKeys }: Makers,
): Promise<void> {
  const made = new Set(plan.things.create.map(({ id }) => id));
  const update = async ({ before, members }: Update<ThingState>): Promise<void> => {
    const { key, ...rest } = members;
    if (Object.keys(rest).length > 0) {
      const patch = thingPatch(inGroup(rest) as z.output<typeof ThingPatchBody>);
      there(await things.updateIn(tx, before.id, patch, before.version));
    }
    if (typeof key === 'string') there(await thingKeys.rotateIn(tx, before.id, { key }));
  };
  // A gateway must be one before things are put behind it, and for as long as they are.
  const turn = ({ before, members }: Update<ThingState>): 'first' | 'last' | 'between' => {
    if (members.type === 'gateway' && !made.has(String(members.gateway))) return 'first';
    return before.type === 'gateway' && members.type !== undefined ? 'last' : 'between';
  };
  const { update: updates } = plan.things;
  for (const each of updates) if (turn(each) === 'first') await update(each);
  if (plan.things.create.length > 0)
    await things.createIn(
      tx,
      org,
      plan.things.create.map(({ id, members }) =>
        newThing({ id, ...(inGroup(members) as z.output<typeof NewThingBody>) }),
      ),
    );
  for (const each of updates) if (turn(each) === 'between') await update(each);
  for (const each of updates) if (turn(each) === 'last') await update(each);
}

async function carryOutPolicies(
  tx: ChangeSession,
  org: string,
  plan: Plan,
  author: string | null,
  { policies, attachments }: Makers,
): Promise<void> {
  const versions = new Map(plan.state.policies.map(({ id, statementsVersion }) => [id, statementsVersion]));
  if (plan.policies.create.length > 0) {
    const made = await policies.createIn(
      tx,
      org,
      plan.policies.create.map(({ id, members }) => policyOf({ id, ...members })),
      author,
    );
    for (const { id, statementsVersion } of made) versions.set(id, statementsVersion);
  }
  const attached = new Set(plan.state.attachments.map(({ policy }) => policy));
  for (const { before, members } of plan.policies.update) {
    const { id, version, statementsVersion, enabled } = before;
    const judged = { statementsVersion, enabled, attached: attached.has(id) };
    const updated = there(await policies.updateIn(tx, id, policyOf(members), author, { version, judged }));
    versions.set(id, updated.statementsVersion);
  }
  for (const { policy, kind, target } of plan.attach)
    await attachments.attachIn(tx, org, policy, { kind, target }, versions.get(policy) ?? 0);
}

type NewPolicy = Parameters<Makers['policies']['createIn']>[2][number];

const policyOf = ({ statements, ...rest }: Members): NewPolicy =>
  ({
    ...rest,
    ...(statements === undefined ? {} : { statements: statementsOf(statements as Parameters<typeof statementsOf>[0]) }),
  }) as unknown as NewPolicy;

const groupOf = ({ parent, ...rest }: Members): Members => ({
  ...rest,
  ...(parent === undefined ? {} : { parentId: parent }),
});

const inGroup = ({ group, ...rest }: Members): Members => ({
  ...rest,
  ...(group === undefined ? {} : { group_id: group }),
});

/** What a change was made of.  @throws RegistryError REGISTRY_VERSION_MISMATCH if it has gone since it was planned */
function there<T>(changed: T | null): T {
  if (changed === null) throw new RegistryError('REGISTRY_VERSION_MISMATCH', 'never');
  return changed;
}
