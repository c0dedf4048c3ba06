import type { Config } from './config.ts';
import { adminPasswordFile, type DataDirectory, writeWhole } from './data-directory.ts';
import type { RunningNode } from './node.ts';
import { VERSION } from './version.ts';

/** Tells programs (`run/ready.json`) and people (standard output) that the node answers.
 *  @holds secrets are shown on a terminal only; elsewhere the printed commands read them from 0600 files */
export function announce(config: Config, directory: DataDirectory, node: RunningNode, tookMs: number): void {
  const { gettingStarted: started } = node;
  if (started !== null) writeWhole(directory.file('getting-started-key'), `${started.key}\n`);
  writeWhole(directory.file('run', 'ready.json'), `${JSON.stringify({ pid: process.pid, ...addresses(node) })}\n`);
  process.stdout.write(banner(config, directory, node, tookMs, process.stdout.isTTY === true));
}

/** Where the node's listeners answer, those that are off left out. */
function addresses({ http, mqtt, mqtts, devices }: RunningNode): Record<string, string> {
  const all = { http, mqtt, mqtts, ...devices };
  return Object.fromEntries(Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== null));
}

function banner(
  config: Config,
  directory: DataDirectory,
  node: RunningNode,
  tookMs: number,
  terminal: boolean,
): string {
  const lines = [
    '',
    `  Millrace ${VERSION} is ready (${(tookMs / 1_000).toFixed(1)} s)`,
    '',
    `  HTTP      ${node.http ?? 'off'}`,
    ...(node.http === null ? [] : [`  API       ${node.http}/docs`]),
    `  MQTT      ${[node.mqtt, node.mqtts].filter((address) => address !== null).join(', ') || 'off'}`,
    `  CoAP      ${[node.devices.coap, node.devices.coaps].filter((address) => address !== null).join(', ') || 'off'}`,
    `  data      ${directory.path}`,
    ...(config.node.MILLRACE_PROFILE === undefined ? [] : [`  profile   ${config.node.MILLRACE_PROFILE}`]),
    `  admin     ${config.registry.MILLRACE_ADMIN_EMAIL}`,
  ];
  if (node.admin !== null) {
    lines.push(
      terminal
        ? `  password  ${node.admin.password}   (shown once; also in ${adminPasswordFile(directory)})`
        : `  password  in ${adminPasswordFile(directory)}`,
    );
  }
  if (node.gettingStarted !== null && node.http !== null) {
    const { key, channel } = node.gettingStarted;
    const shown = terminal ? key : `$(cat '${directory.file('getting-started-key')}')`;
    lines.push(
      '',
      '  Publish a reading:',
      `  curl -X POST ${node.http}/channels/${channel}/messages -H "Authorization: Thing ${shown}" -H 'Content-Type: application/senml+json' -d '[{"n":"temperature","u":"Cel","v":21.5}]'`,
      '',
      '  Read it back:',
      `  curl ${node.http}/channels/${channel}/messages -H "Authorization: Thing ${shown}"`,
    );
  }
  return `${lines.join('\n')}\n\n`;
}
