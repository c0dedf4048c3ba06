import type { Condition, PolicyRule, RequestContext } from '@millrace/core';
import { protocolNames } from '@millrace/core';

/** The policy's definition once more, slow and straight, to compare the gate with. Shares no code with it.
 *  Conditions: protocol, tls, mutualTls, time, metadata, not, and IPv4 blocks in whole octets. */
export function referenceAllows(
  rules: readonly PolicyRule[],
  subject: string,
  org: string,
  object: string,
  action: string,
  context: RequestContext,
  metadata: Readonly<Record<string, unknown>>,
  groups: readonly string[],
): boolean {
  const who = closure(rules, org, (name) => name === subject);
  who.add(subject);
  let allowed = false;
  for (const { type, values } of rules) {
    const [by, where, what = '', does, effect, text = ''] = values;
    if (type !== 'p' || by === undefined || !who.has(by) || where !== org) continue;
    if (does !== '*' && does !== action) continue;
    const [, group, within] = /^group:([^/]*)(.*)$/s.exec(what) ?? [];
    if (group !== undefined && !(groups.includes(group) && within?.startsWith('/'))) continue;
    if (!toRegExp(within?.slice(1) ?? what).test(object)) continue;
    if (text !== '' && !holds(JSON.parse(text), context, metadata, object)) continue;
    if (effect === 'deny') return false;
    allowed = true;
  }
  return allowed;
}

function closure(rules: readonly PolicyRule[], org: string, first: (child: string) => boolean): Set<string> {
  const reached = new Set<string>();
  for (let grown = true; grown; ) {
    grown = false;
    for (const rule of rules) {
      const [child = '', parent = '', domain] = rule.values;
      if (rule.type !== 'g' || domain !== org || reached.has(parent)) continue;
      if (!first(child) && !reached.has(child)) continue;
      reached.add(parent);
      grown = true;
    }
  }
  return reached;
}

function toRegExp(pattern: string): RegExp {
  const open = pattern.endsWith('*');
  const segments = (open ? pattern.slice(0, -1) : pattern).split('/');
  const escaped = segments.map((segment, index) =>
    segment === '*' && index < segments.length - 1 ? '[^/]*' : segment.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'),
  );
  return new RegExp(`^${escaped.join('/')}${open ? '' : '$'}`, 's');
}

function holds(
  condition: Condition,
  context: RequestContext,
  metadata: Readonly<Record<string, unknown>>,
  object: string,
): boolean {
  const { subtopic, protocol, address, tls, mutualTls, time, not } = condition;
  if (protocol !== undefined && !protocol.includes(protocolNames[context.protocol] as string)) return false;
  if (address !== undefined && !address.some((block) => inBlock(context.remoteAddress, block))) return false;
  if (tls !== undefined && tls !== context.tls) return false;
  if (mutualTls !== undefined && mutualTls !== context.mutualTls) return false;
  if (time?.from !== undefined && context.nowMs < Date.parse(time.from)) return false;
  if (time?.to !== undefined && context.nowMs >= Date.parse(time.to)) return false;
  for (const [name, value] of Object.entries(condition.metadata ?? {})) if (metadata[name] !== value) return false;
  const below = object.split('/messages')[1]?.slice(1) ?? '';
  if (subtopic !== undefined && !subtopic.some((pattern) => filterOf(pattern).test(below))) return false;
  return not === undefined || !holds(not, context, metadata, object);
}

/** `a/#` also covers `a`; the subtopic "" has no segment. */
function filterOf(pattern: string): RegExp {
  const text = pattern
    .split('/')
    .map((segment) => (segment === '+' ? '[^/]*' : segment.replace(/[.*?^${}()|[\]\\]/g, '\\$&')))
    .join('/');
  const open = text.endsWith('#') ? `${text.slice(0, -1).replace(/\/$/, '')}(/.*)?` : text;
  return new RegExp(text === '#' ? '^' : text === '[^/]*' ? '^[^/]+$' : `^${open}$`, 's');
}

function inBlock(address: string, block: string): boolean {
  const [network = '', bits = '32'] = block.split('/');
  const octets = Number(bits) / 8;
  return address.split('.').slice(0, octets).join('.') === network.split('.').slice(0, octets).join('.');
}
