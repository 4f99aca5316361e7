import type { Command } from '../command.js';
import { helpCommands } from './help.js';
import { PEER_COMMANDS } from './peer.js';
import { SYSTEM_COMMANDS } from './system.js';
import { UNSUPPORTED_COMMANDS } from './unsupported.js';
import { BRICK_COMMANDS } from './volume-bricks.js';
import { volumeBitrot } from './volume-bitrot.js';
import { volumeHeal } from './volume-heal.js';
import { OPTION_COMMANDS } from './volume-options.js';
import { volumeStatus } from './volume-status.js';
import { VOLUME_COMMANDS } from './volume.js';

const OFFERED: Command[] = [
  ...PEER_COMMANDS,
  ...VOLUME_COMMANDS,
  volumeStatus,
  volumeHeal,
  volumeBitrot,
  ...BRICK_COMMANDS,
  ...OPTION_COMMANDS,
  ...SYSTEM_COMMANDS,
];

/** Every command that gluon knows, also those that it only knows to refuse. */
export const COMMANDS: Command[] = [...OFFERED, ...helpCommands(OFFERED), ...UNSUPPORTED_COMMANDS];
