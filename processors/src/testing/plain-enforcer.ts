import { createHash } from 'node:crypto';
import type { Enforcer, Sealer } from '@millrace/core';

/** An EnforcerModule that is easy to see through: a rule `p, subject, org, channels/<id>` lets publish. */
export function createEnforcer(): Enforcer {
  return {
    mayPublish: (subject, org, channel, _groups, _subtopic, _protocol, _nowMs, rules) =>
      rules.some(
        ({ type, values: [who, where, what] }) =>
          type === 'p' && who === subject && where === org && what === `channels/${channel}`,
      ),
  };
}

export function createSealer(secret: Uint8Array): Sealer {
  const macOf: (fields: Parameters<Sealer['seal']>[0]) => Uint8Array = (fields) =>
    createHash('sha256')
      .update(secret)
      .update(fields.id)
      .update(`${fields.org}/${fields.channel}/${fields.subtopic}/${fields.publisher}/${fields.version}`)
      .update(String(fields.receivedUs))
      .update(fields.payload)
      .digest()
      .subarray(0, 16);
  return {
    seal: (fields, out) => out.set(macOf(fields)),
    verify: (fields, mac) => Buffer.compare(macOf(fields), mac) === 0,
  };
}
