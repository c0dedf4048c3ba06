import { Refusal } from '../http/refusal.ts';
import type { Orgs } from './orgs.ts';

/** What carries messages or brings them in: nothing of it moves while the organisation is frozen. */
const MESSAGES = new Set(['messages', 'deadletters']);
/** What stands still, but may be looked at. People, roles, policies and keys may be changed: to freeze is what one does
 *  when something is wrong, and then it must be put right before all goes on. */
const INVENTORY = new Set([
  'things',
  'channels',
  'connections',
  'groups',
  'certs',
  'apps',
  'jobs',
  'commands',
  'codecs',
  'networkservers',
  'queries',
]);

/** @param action that the gate has allowed  @throws Refusal 403 messages, 409 changes of what a frozen one has */
export async function refuseFrozen(orgs: Pick<Orgs, 'frozen'>, org: string, action: string): Promise<void> {
  const [entity = '', verb = ''] = action.split('.');
  const moves = MESSAGES.has(entity);
  if (!moves && (!INVENTORY.has(entity) || verb === 'read' || verb === 'list')) return;
  if (!(await orgs.frozen(org))) return;
  if (moves) throw new Refusal(403, 'The organisation is frozen: its messages can not be read until it is unfrozen.');
  throw new Refusal(409, 'The organisation is frozen: nothing of it can be changed until it is unfrozen.');
}
