import type { Command } from 'commander';
import { audit, keys, policies } from './access.ts';
import { channels } from './channels.ts';
import { commands } from './commands.ts';
import { connect, connections, disconnect } from './connections.ts';
import { deadLetters } from './dead-letters.ts';
import { explain } from './explain.ts';
import { exports } from './exports.ts';
import { groups } from './groups.ts';
import { importing, imports } from './imports.ts';
import { codecs, networkServers } from './lorawan.ts';
import { lwm2m } from './lwm2m.ts';
import { manifest } from './manifest.ts';
import { messages } from './messages.ts';
import { invitations, members, orgs, roles, users } from './people.ts';
import { apps, certs, jobs } from './platform.ts';
import { questions } from './query.ts';
import { registerCommand, registerTopics } from './register.ts';
import { deletions, holds } from './retention.ts';
import { session } from './session.ts';
import { asking, queries } from './sql.ts';
import { tail } from './tail.ts';
import { things } from './things.ts';
import { webhooks } from './webhooks.ts';

/** Everything that asks a node. */
export function registerControl(program: Command): void {
  program.commandsGroup('Log in:');
  for (const command of session) registerCommand(program, command);
  program.commandsGroup('Messages:');
  for (const command of [...messages, importing, explain]) registerCommand(program, command);
  registerTopics(program, [deadLetters]);
  program.commandsGroup('Questions:');
  for (const command of [...questions, tail, asking]) registerCommand(program, command);
  registerTopics(program, [queries, exports]);
  program.commandsGroup('What there is:');
  registerTopics(program, [things, channels, groups]);
  for (const command of [connect, disconnect, connections, ...manifest]) registerCommand(program, command);
  registerTopics(program, [networkServers, codecs, commands, lwm2m, imports, webhooks, jobs, deletions, holds]);
  program.commandsGroup('Who may what:');
  registerTopics(program, [orgs, members, invitations, roles, users, policies, keys, certs, apps, audit]);
}
