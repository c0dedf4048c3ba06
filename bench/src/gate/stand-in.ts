import {
  type ChannelRecord,
  connectionRules,
  type Directory,
  groupObject,
  type Holder,
  memberRule,
  type PolicyRule,
  roleActions,
  roleRules,
  roleSubject,
  type SubjectRecord,
  statementRules,
} from '@millrace/core';

const ORG = 'org-1';
export const channelOf = (index: number): string => `0197f3c2-0000-7000-8000-${index.toString(16).padStart(12, '0')}`;
const ids = {
  /** Connected to the channel of their number, and nothing else. */
  plain: 'thing',
  /** With policies that ask about subtopic and address. */
  conditioned: 'cond',
  user: 'user',
} as const;
export const nameOf = (kind: keyof typeof ids, index: number): string => `${ids[kind]}-${index}`;
const POLICIES = 20;

/** A registry that answers at once, so that what the gate itself costs is seen. Texts are new each time, as those that
 *  come from a database are. */
export class StandInDirectory implements Directory {
  readonly version = 1;

  async thingByKey(): Promise<null> {
    return null;
  }
  async thingByCertificate(): Promise<null> {
    return null;
  }
  async redeemTicket(): Promise<null> {
    return null;
  }
  /** @param digest of the secret: there are no others */
  async bearer(digest: string): Promise<Holder> {
    const subject = await this.subject(nameOf('user', Number.parseInt(digest.slice(0, 8), 16) % 1_000));
    const grants = [{ actions: ['publish', 'things.read'], resources: ['channels/*', 'things/*'] }];
    return { subject, expiresMs: Number.POSITIVE_INFINITY, scope: { id: digest, org: ORG, grants } };
  }
  async subject(id: string): Promise<SubjectRecord> {
    if (id.startsWith(ids.user))
      return { kind: 'user', id, email: `${id}@example.org`, enabled: true, admin: false, epoch: 0 };
    return { kind: 'thing', id, org: ORG, type: 'device', enabled: true, metadata: { site: `s${id}` }, epoch: 0 };
  }
  async channel(id: string): Promise<ChannelRecord> {
    const groups = ['floor', 'house'];
    return { id, org: ORG, enabled: true, alias: null, contentType: null, groups, profile: {}, limits: {} };
  }
  async rules(id: string): Promise<readonly PolicyRule[]> {
    const who = await this.subject(id);
    const own = Number(id.slice(id.lastIndexOf('-') + 1));
    const rules = connectionRules(id, ORG, channelOf(own), { publish: true, subscribe: true });
    if (id.startsWith(ids.plain)) return copied(rules);
    if (who.kind === 'user') {
      const editor = roleSubject('editor');
      rules.push(memberRule(id, editor, ORG), ...roleRules(editor, ORG, roleActions.editor, 'editor'));
    }
    for (let index = 0; index < POLICIES; index++) {
      const resources = [
        `channels/${channelOf(own)}/messages/p${index}*`,
        groupObject('house', `channels/*/messages/q${index}`),
      ];
      rules.push(
        ...statementRules(
          {
            effect: index % 5 === 0 ? 'deny' : 'allow',
            actions: ['publish'],
            resources,
            condition: { address: ['10.0.0.0/8'] },
          },
          id,
          who,
          ORG,
          `policy ${index} v1 0`,
        ),
      );
    }
    return copied(rules);
  }
  onChange(): () => void {
    return () => {};
  }
}

const copied = (rules: readonly PolicyRule[]): PolicyRule[] => JSON.parse(JSON.stringify(rules)) as PolicyRule[];
