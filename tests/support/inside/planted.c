/* As a DLL: write its own path to the file %PLANTED%.
   As a program (-DCONTROL): load the DLL in its argument from wherever Windows finds it. */
#include <windows.h>

#ifdef CONTROL
int wmain(int count, WCHAR **words)
{
    return count == 2 && LoadLibraryW(words[1]) ? 0 : 1;
}
#else
BOOL WINAPI DllMain(HINSTANCE dll, DWORD reason, LPVOID reserved)
{
    WCHAR file[MAX_PATH], path[MAX_PATH + 1];
    DWORD count = 0;

    (void)reserved;
    if (reason == DLL_PROCESS_ATTACH && GetEnvironmentVariableW(L"PLANTED", file, MAX_PATH)) {
        HANDLE marks = CreateFileW(file, FILE_APPEND_DATA, 7, NULL, OPEN_ALWAYS, 0, NULL);
        count = GetModuleFileNameW(dll, path, MAX_PATH);
        path[count++] = L'\n';
        WriteFile(marks, path, count * sizeof *path, &count, NULL);
        CloseHandle(marks);
    }
    return TRUE;
}
#endif
