/* Byte locks by hand, open-file-description ones as QEMU takes them.
   locks r|w BYTE,... FILE SECONDS   takes a shared or an exclusive lock on each of these bytes; a child keeps them for so long
   Ends with 4 where one can't be had. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    int writes = argv[1][0] == 'w';
    int fd = open(argv[3], writes ? O_RDWR : O_RDONLY);
    if (fd < 0) { perror(argv[3]); return 3; }
    for (char *byte = strtok(argv[2], ","); byte; byte = strtok(NULL, ",")) {
        struct flock lock = { .l_type = writes ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET, .l_start = atol(byte), .l_len = 1 };
        if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
            printf("byte %s: %s\n", byte, strerror(errno));
            return errno == EAGAIN || errno == EACCES ? 4 : 3;
        }
    }
    /* Such locks belong to what both have open. */
    if (fork() == 0) sleep((unsigned)atoi(argv[4]));
    return 0;
}
