/** What a network server knows a downlink of ours by. It is the command's id, so that whichever node hears of it knows
 *  which one is meant; and it says whether the device acknowledges: without that, transmission is the end of it.
 *  @shape UUID: the command's own (version 7) if confirmed, else the same with version 8 */
export function queueItemIdOf(command: string, confirmed: boolean): string {
  return confirmed ? command : command.replace(VERSION_7, '$18');
}

/** The command behind a queue item; null if it is not one of ours: those of the network servers are random (version 4). */
export function commandOf(queueItemId: string): { readonly command: string; readonly confirmed: boolean } | null {
  if (!UUID.test(queueItemId)) return null;
  if (queueItemId[14] === '7') return { command: queueItemId, confirmed: true };
  if (queueItemId[14] === '8') return { command: queueItemId.replace(VERSION_8, '$17'), confirmed: false };
  return null;
}

const VERSION_7 = /^(.{14})7/;
const VERSION_8 = /^(.{14})8/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
