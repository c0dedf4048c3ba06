import type { Location } from './lora-event.ts';
import { EventFault, locationOf, type Members } from './members.ts';

/** What both versions of ChirpStack tell of a device that was asked for its status. */
export const statusOf = (event: Members) => ({
  marginDb: event.number('margin'),
  externalPower: event.boolean('externalPowerSource'),
  batteryPercent: event.boolean('batteryLevelUnavailable') ? null : event.number('batteryLevel'),
});

/** @param sources names of the version's enumeration, in their order  @throws EventFault where there is none */
export function toldLocation(event: Members, sources: readonly string[]): Location {
  const location = locationOf(event.child('location'), sources);
  if (location === null) throw new EventFault('The event has no location.');
  return location;
}
