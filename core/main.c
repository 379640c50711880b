/* lunate: one binary, many roles. The first word names the role; see core/role. */
#include <stdio.h>

#include "role/role.h"

int main(int argc, char **argv)
{
    return ln_role_main(argc, argv);
}
