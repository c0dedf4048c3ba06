import type { Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';

/** @returns whether the device is there: it has registered, whether it sleeps or not
 *  @throws Refusal 404 unless the thing is, or is to be, a device of LwM2M */
export async function checkIsLwm2m(plane: Plane, thing: string): Promise<boolean> {
  const { lwm2m } = plane.registry;
  if ((await lwm2m.registrationOf(thing)) !== null) return true;
  if ((await lwm2m.accounts.get(thing)) !== null) return false;
  throw new Refusal(
    404,
    'The thing is no device of LwM2M: it has not registered, and has no account (PUT /things/{id}/lwm2m makes one).',
  );
}
