/* What Lunate's own Lua (lua/dictionary, lua/hl7) has from C: the module "lunate.hl7.core", and how
 * hl7.NAME and msg:NAME come from Lua. Scripts cannot reach the module itself. */
#ifndef LN_SCRIPT_HL7CORE_H
#define LN_SCRIPT_HL7CORE_H

struct lua_State;

/* Makes "lunate.hl7.core" known to require. Pushes nothing. */
void ln_hl7core_open(struct lua_State *L);
/* The module table is on top: gives it a metatable that loads dictionary, time, batch, ... when
 * they are asked for first. */
void ln_hl7core_lazy(struct lua_State *L);
/* The method that a string on top (a module's name) stands for: replaces it with module[key], and
 * keeps it in the table at upvalue `methods`, under the key at stack index 2. */
void ln_hl7core_method(struct lua_State *L, int methods);

#endif
